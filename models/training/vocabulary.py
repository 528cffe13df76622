"""Every word the pocket world knows: what can be drawn, said, sounded and asked with."""

SHAPES = ["circle", "square", "triangle", "star", "heart", "cross", "moon"]
PLURALS = {"cross": "crosses", **{s: s + "s" for s in SHAPES if s != "cross"}}
COLOURS = {  # sRGB; the renderer jitters them
    "red": (214, 38, 42), "orange": (244, 138, 26), "yellow": (246, 214, 34), "green": (40, 158, 66),
    "blue": (36, 84, 208), "purple": (128, 48, 168), "pink": (246, 130, 184), "black": (28, 28, 32)}
STYLES = ["solid", "striped", "hollow"]
SIZES = ["small", "medium", "large"]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
REGIONS = [["top left", "top", "top right"], ["left", "center", "right"], ["bottom left", "bottom", "bottom right"]]
GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
RANDOM_GLYPHS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # no O/0, I/1 where no word tells them apart
SIGN_WORDS = ("EXIT STOP OPEN CLOSED PUSH PULL TAXI HOTEL BAKERY LIBRARY MUSEUM STATION AIRPORT MARKET GARDEN BRIDGE "
              "CAFE PIZZA MILK BREAD SUGAR COFFEE TEA SALE FREE LEFT RIGHT NORTH SOUTH EAST WEST PARK BEACH RIVER "
              "FOREST SCHOOL OFFICE DOCTOR POLICE DANGER WARNING QUIET PRIVATE TICKETS ENTRANCE PLATFORM GATE LIFT "
              "BANK POST BOOKS SHOES JUNGLE KITCHEN VOLCANO WIZARD ZEBRA ROCKET PLANET YELLOW").split()

THINGS_SAID = ("apple bird book bread car cat chair cup dog door fish flower garden hat horse house key lamp monkey "
               "music paper phone rain river rocket salt snow spoon table tree water window").split()
COMMANDS = "yes no left right up down stop go hello".split()
QUESTION_WORDS = "what color is the how many are there does sign say a".split()
SPOKEN = list(dict.fromkeys(list(COLOURS) + SHAPES + [PLURALS[s] for s in SHAPES] + NUMBERS[1:9] + THINGS_SAID
                            + COMMANDS + QUESTION_WORDS))
CHAT_WORDS = list(COLOURS) + SHAPES + NUMBERS[1:9] + THINGS_SAID + COMMANDS  # words of ordinary speech
TONES = ["high", "low", "rising"]
SOUND_LABELS = ["silence", *SPOKEN, "beep", *TONES]  # per-frame labels of the audio auxiliary head
THING_LABELS = ["card", *(f"{c} {s}" for c in COLOURS for s in SHAPES), "sign"]

ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth"]
OPPOSITES = {"hot": "cold", "big": "small", "up": "down", "left": "right", "open": "closed", "day": "night",
             "wet": "dry", "fast": "slow", "full": "empty", "light": "dark", "old": "new", "top": "bottom",
             "first": "last", "loud": "quiet", "early": "late", "soft": "hard"}
MIXES = {("red", "yellow"): "orange", ("blue", "yellow"): "green", ("red", "blue"): "purple", ("red", "white"): "pink"}
