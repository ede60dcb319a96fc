NAME = "my executor"
