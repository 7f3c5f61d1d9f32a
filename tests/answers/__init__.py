"""Right answers to the exercises, a module a chapter, of other kinds than those that the chapters show: a check must not refuse what is right."""
