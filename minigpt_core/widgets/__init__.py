"""What runs in the page: the engine, which is the model in JavaScript, and the widgets that stand on it."""
