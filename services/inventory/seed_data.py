"""The items that `python -m services.inventory.migrate --seed` adds to an empty database."""

SEED_ITEMS = (
    ("ps5", "PlayStation 5", 100),
    ("xbox", "Xbox Series X", 75),
    ("switch", "Nintendo Switch", 150),
    ("laptop", "Laptop", 50),
    ("monitor", "Monitor", 200),
    ("headset", "Headset", 75),
    ("keyboard", "Keyboard", 55),
    ("mouse", "Mouse", 80),
    ("chair", "Chair", 20),
    ("webcam", "Webcam", 35),
    ("microphone", "Microphone", 25),
    ("controller", "Controller", 42),
)
