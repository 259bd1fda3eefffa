"""The main job: nothing, or a user's own text, becomes a model that chats."""
