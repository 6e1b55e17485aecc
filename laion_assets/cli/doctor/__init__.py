"""``laion doctor``: whether this machine, this lake and this Dagster can do what is asked of them."""
