import no_such_module_at_all

raise RuntimeError("a tool that cannot be loaded must not matter to endpoints")
