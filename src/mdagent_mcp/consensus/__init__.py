"""The likely price and how sure: fusion, validation, grading, explanation. Pure."""
