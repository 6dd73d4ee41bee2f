"""What crosses the boundary: contracts, errors, Result and the producers' client."""
