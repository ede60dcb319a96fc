"""Words of the SDK's wire format."""
