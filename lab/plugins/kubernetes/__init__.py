"""A stand-in for Pulumi's kubernetes plugin 4.32.0: objects of any kind, by server-side apply."""
