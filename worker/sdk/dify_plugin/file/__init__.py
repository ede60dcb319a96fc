"""Files that Dify passes on."""
