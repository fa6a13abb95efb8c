"""Certificates: how they are asked for, issued, read and judged. Nothing here knows of Azure."""
