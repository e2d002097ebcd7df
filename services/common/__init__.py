"""What every service does identically: report, refuse and fail. Nothing here knows a product."""
