"""Draws the cat, pixel by pixel, flying through space on a rainbow."""

WIDTH, HEIGHT = 72, 22

Colour = tuple[int, int, int]
Picture = list[list[Colour]]

NIGHT: Colour = (15, 18, 54)
STAR: Colour = (255, 255, 240)
RAINBOW: list[Colour] = [
    (255, 65, 80),
    (255, 155, 50),
    (255, 230, 70),
    (80, 220, 100),
    (70, 160, 255),
    (160, 100, 240),
]

FUR = {
    "o": (58, 40, 66),  # outline
    "c": (250, 168, 76),
    "s": (222, 116, 50),  # stripes
    "l": (255, 224, 178),  # belly
    "p": (255, 130, 150),  # nose, ears, cheeks
    "w": (255, 255, 255),
    "e": (40, 26, 46),  # eyes
}

CAT = """
..o.......................oo....oo..
.oco......................oco..oco..
.oco......................opcoocpo..
..oco.....................occccccco.
..occo...oooooooooooooooooccccccccco
...occo.ocsccsccsccscccccoccewccewco
...occoocccsccsccsccscccocceeccceeco
....occcccccscccsccscccccoccccpcccco
.....ooccccccccccccccccccopcclolccpo
.......ocllccccccccccllccoocllllcco.
.......occlllllllllllllcccooooooooo.
.......occcccccccccccccccccco.......
""".strip("\n").split("\n")

LEGS = (
    ("........occo.occo...occo.occo.......", ".........oo...oo.....oo...oo........"),
    (".......occo...occo.occo...occo......", "........oo.....oo...oo.....oo......."),
)

STARS = ((5, 2), (19, 18), (33, 4), (47, 20), (58, 1), (66, 12), (26, 10), (70, 6))


def draw(frame: int) -> Picture:
    """Draw one frame: HEIGHT rows of WIDTH colours."""
    picture = [[NIGHT] * WIDTH for _ in range(HEIGHT)]
    for x, y in STARS:
        _put(picture, (x - 2 * frame) % WIDTH, y, STAR)
        if (frame + x) % 6 < 2:
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                _put(picture, (x - 2 * frame + dx) % WIDTH, y + dy, (150, 160, 220))
    for x in range(36):
        wave = (x // 5 + frame // 2) % 2
        for stripe, colour in enumerate(RAINBOW):
            _put(picture, x, 7 + wave + stripe, colour)
    bob = (frame // 2) % 2
    for dy, row in enumerate((*CAT, *LEGS[(frame // 3) % 2])):
        for dx, mark in enumerate(row):
            if mark in FUR:
                _put(picture, 32 + dx, 3 + bob + dy, FUR[mark])
    return picture


def _put(picture: Picture, x: int, y: int, colour: Colour) -> None:
    if 0 <= x < WIDTH and 0 <= y < HEIGHT:
        picture[y][x] = colour
