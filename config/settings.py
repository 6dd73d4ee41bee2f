"""Every setting, read once from the environment (STRONGROOM_*) by the composition root."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from config.cron import check_expression, check_time_zone
from strongroom.errors import ConfigurationError

KIB, MIB, GIB = 1024, 1024**2, 1024**3

CronExpression = Annotated[str, AfterValidator(check_expression)]
"""When a schedule runs, in the schedules' time zone; empty: never."""


class Settings(BaseSettings):
    """What can be set. The names below, in capitals and with the prefix STRONGROOM_, are the environment variables."""

    model_config = SettingsConfigDict(env_prefix="STRONGROOM_", extra="forbid", frozen=True, allow_inf_nan=False)

    data_dir: Path = Field(Path("data"), description="The data folder. Everything the service keeps lies below it.")
    broker_url: SecretStr | None = Field(
        None, description="A Redis or Valkey to use in place of the embedded one: redis://:password@host:6379/0"
    )
    broker_fsync: Literal["always", "everysec"] = Field(
        "always",
        description="When the embedded broker syncs what it took: before it confirms it, or within two seconds: faster, and "
        "may lose documents that are sent inside messages when the power goes.",
    )
    database_url: SecretStr | None = Field(
        None, description="A database in place of SQLite in the data folder: postgresql+psycopg://user:password@host/name"
    )
    tree: Literal["all", "latest", "none"] = Field(
        "all", description="Which versions stand as files under documentation/ for other programs."
    )
    codec: Literal["gzip-fast", "gzip-best", "zstd", "none"] = Field(
        "gzip-fast", description="How a document is encoded on arrival."
    )
    max_document_bytes: int = Field(GIB, ge=KIB, description="The largest document, in plain bytes.")
    max_attempts: int = Field(5, ge=1, le=100, description="How often a job is tried before it is put into quarantine.")
    kind_limits: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description='How many jobs of a kind run at once, as JSON: {"verify": 1}. Kinds that are not named have no limit.'
    )
    max_waiting: int = Field(
        200_000, ge=100, description="Messages in a queue from which on producers are told to wait before they send more."
    )
    short_concurrency: int = Field(2, ge=1, le=256, description="Processes of the worker for short jobs (stores).")
    long_concurrency: int = Field(
        2, ge=1, le=64, description="Processes of the worker for long jobs (verify, the tree, large stores)."
    )
    flower_port: int = Field(0, ge=0, le=65535, description="Flower's port on loopback; 0 takes a free one.")
    flower_user: str = Field("strongroom", description="The user name that Flower asks for.")
    flower_password: SecretStr | None = Field(
        None, description="Flower's password; without it one is made and kept in the data folder, readable by its owner only."
    )
    time_zone: Annotated[str, AfterValidator(check_time_zone)] = Field(
        "UTC", description="The time zone of the schedules, such as Europe/Berlin."
    )
    schedule_integrity_sweep: CronExpression = Field(
        "20 * * * *",
        description="When what was read longest ago is read again, as a cron expression; empty: never.",
    )
    coverage_days: int = Field(30, ge=1, description="Days within which everything stored is read again at least once.")
    sweep_mb_s: float = Field(0.0, ge=0, description="MiB a second that an integrity sweep reads at most; 0: no limit.")
    repair: bool = Field(
        True,
        description="Whether sweeps, and reads that meet damage, repair it where a good source exists.",
    )
    schedule_prune_history: CronExpression = Field(
        "0 4 * * *", description="When old jobs are removed from the history, as a cron expression; empty: never."
    )
    schedule_retention: CronExpression = Field(
        "0 3 * * *", description="When what the retention policies do not keep is removed, as a cron expression; empty: never."
    )
    schedule_sweep: CronExpression = Field(
        "30 3 * * *", description="When bytes that nothing names any more are removed, as a cron expression; empty: never."
    )
    retention: dict[str, JsonValue] = Field(
        {},
        description='Which versions are kept, by library pattern, as JSON: {"*": {"keep_last": 5, "within": "90d"}}. '
        "Without any, everything is kept; docs/how-to/cleanup.md.",
    )
    grace_hours: int = Field(
        168,
        ge=1,
        le=87_600,
        description="Hours in which what was removed can come back, and after that hours its bytes stay in the trash.",
    )
    compress_newest: Literal["gzip", "zstd"] = Field(
        "gzip",
        description="How compress keeps the versions that stand under documentation/, and each library's latest. With zstd other "
        "programs find documentation.json.zst there.",
    )
    schedule_compress: CronExpression = Field(
        "30 4 * * *", description="When what was stored lately is compressed better, as a cron expression; empty: never."
    )
    reserve_bytes: int | None = Field(
        None,
        ge=0,
        description="Bytes of the disk that jobs leave free, for cleanup and the catalogue; unset: 2 % of it, at most 1 GiB.",
    )
    space_low_percent: int = Field(85, ge=1, le=100, description="How much of the disk is used when that becomes a finding.")
    space_critical_percent: int = Field(95, ge=1, le=100, description="How much of the disk is used when that is critical.")
    quotas: dict[str, JsonValue] = Field(
        {},
        description='Stored bytes that a library may take, by library pattern, and all together, as JSON: {"*": "10GB", '
        '"/legal/*": "unlimited", "total": "1TB"}. docs/how-to/quotas.md.',
    )
    backup_target: str = Field(
        "",
        description="Where backups go: a folder on another disk, or s3://BUCKET/PREFIX; empty: the folder backups in the data "
        "folder, which is lost with its disk. docs/how-to/backup.md.",
    )
    backup_key_file: Path | None = Field(
        None, description="The age key file that backups are sealed with; unset: they are not. docs/how-to/backup-encryption.md."
    )
    schedule_backup: CronExpression = Field(
        "0 2 * * *", description="When a backup is taken, as a cron expression; empty: never."
    )
    backup_max_age_hours: int = Field(
        26,
        ge=0,
        description="Hours after which it is an alarm that no good backup has begun; 0: never. A day, and time to be late.",
    )
    backup_retention: dict[str, JsonValue] = Field(
        {},
        description='Which backups are kept, as JSON: {"daily": 7, "weekly": 5, "monthly": 12}; empty: all. See docs/how-to.',
    )
    schedule_backup_prune: CronExpression = Field(
        "15 6 * * *", description="When backups that are not kept any more are removed, as a cron expression; empty: never."
    )
    schedule_drill: CronExpression = Field(
        "30 5 * * 0", description="When backups are restored into scratch space and compared, as a cron expression; empty: never."
    )
    drill_max_age_days: int = Field(
        8, ge=0, description="Days after which it is an alarm that no drill was made; 0: never. A week, and time to be late."
    )
    backup_s3_endpoint: str | None = Field(
        None, description="The address of the object store, such as https://s3.example.org; unset: AWS's own of the region."
    )
    backup_s3_region: str = Field("us-east-1", description="The region of the object store; most but AWS's ignore it.")
    backup_s3_access_key: SecretStr | None = Field(
        None, description="The access key of the object store; unset: as the AWS tools find one, such as a role of the machine."
    )
    backup_s3_secret_key: SecretStr | None = Field(None, description="The secret that belongs to the access key.")
    notify_urls: SecretStr | None = Field(
        None,
        description="Who is told of what is wrong: addresses of apprise (mailto://..., slack://...), with spaces between them. "
        "docs/how-to/alerts.md.",
    )
    ping_url: SecretStr | None = Field(
        None,
        description="A dead-man's switch that each backup pings, such as https://hc-ping.com/...; it raises the alarm when it "
        "hears nothing.",
    )
    history_days: int = Field(90, ge=1, description="Days after which an ended job is removed from the history.")
    history_jobs: int = Field(1_000_000, ge=1, description="Ended jobs that the history keeps, the newest.")
    grace_period_s: int = Field(60, ge=1, description="Seconds a running job may go on after a stop was asked for.")
    log_format: Literal["text", "json"] = Field("text", description="How log lines look.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least important line that is logged."
    )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @field_validator("ping_url")
    @classmethod
    def _web_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("https://", "http://")):
            raise ValueError("it is no address that begins with https:// or http://")
        return url

    @property
    def catalogue_url(self) -> str:
        """The database's URL: the one that was set, else SQLite in the data folder."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'metadata' / 'catalogue.db'}"


def read_settings(data_dir: Path | None = None) -> Settings:
    """Return the settings; ``data_dir`` goes before what the environment says.

    Raises:
        ConfigurationError: a setting cannot be used; the message names it and not its value, which may be a secret.
    """
    try:
        return Settings() if data_dir is None else Settings(data_dir=data_dir)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_said(*one["loc"], one["msg"]) for one in error.errors()) + ".") from None
    except SettingsError as error:
        names = (name for name in Settings.model_fields if f'"{name}"' in str(error))
        raise ConfigurationError("; ".join(_said(name, "it is no JSON") for name in names) + ".") from None


def _said(name: object, *inside: object) -> str:
    *keys, message = map(str, inside)
    return ": ".join([f"STRONGROOM_{str(name).upper()}", *keys, message.removeprefix("Value error, ")])
