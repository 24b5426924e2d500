"""Options of the built-in samplers, by topic; `vidssl_plugins.samplers.hooks` is the whole menu."""
