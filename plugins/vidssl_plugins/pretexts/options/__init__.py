"""Options of the built-in pretexts, by topic; `vidssl_plugins.pretexts.hooks` is the whole menu."""
