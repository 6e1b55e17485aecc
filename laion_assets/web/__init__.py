"""Pages to look around in a lake, made when somebody asks, from what the lake holds then. Knows no Dagster."""
