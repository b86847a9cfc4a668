"""The app: model, API, tokens."""
