"""A stand-in for Pulumi's command plugin 1.2.1: commands and files on this machine and others."""
