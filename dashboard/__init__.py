"""The browser's side, once: what every app's pages are made of. The pages are in each app's `views/`."""
