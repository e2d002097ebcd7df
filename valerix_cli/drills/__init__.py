"""Drills: a file says what is to go wrong under which load and what has to hold; a receipt says whether it did."""
