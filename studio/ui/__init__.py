"""The page: it shows what the engine and the services know, and owns no job."""
