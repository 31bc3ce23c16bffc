"""Experiments of this library's own: trained necks compared on small data sets."""
