"""HTML to look at: galleries, maps, previews, reports."""
