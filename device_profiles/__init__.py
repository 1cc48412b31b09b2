"""The device catalogue: one TOML file a device, a source beside every number."""
