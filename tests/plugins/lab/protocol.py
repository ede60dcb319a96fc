NAME = "my protocol"
