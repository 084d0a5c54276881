"""Pure functions from values to SVG; colours are classes of the stylesheet, texts are escaped here."""
