"""Paraphrases of every question family, and the ways people type them."""
from random import Random

PHRASES = {
    "colour": ["what color is the {x}", "what colour is the {x}", "which color does the {x} have", "the {x} is what color",
               "tell me the color of the {x}", "what is the color of the {x}", "name the colour of the {x}"],
    "shape": ["what shape is {c}", "which shape is {c}", "what is the {c} shape", "what is the {c} thing", "name the {c} shape",
              "what {c} object do you see"],
    "style": ["is the {x} solid, striped or hollow", "how is the {x} filled", "what pattern does the {x} have",
              "what is the fill of the {x}"],
    "count_all": ["how many shapes are there", "how many shapes do you see", "count the shapes", "how many shapes are in the picture",
                  "what is the number of shapes"],
    "count_colour": ["how many {c} shapes are there", "how many shapes are {c}", "count the {c} shapes", "how many {c} things do you see"],
    "count_shape": ["how many {xs} are there", "how many {xs} do you see", "count the {xs}", "what is the number of {xs}",
                    "how many {xs} are in the picture"],
    "count_style": ["how many {k} shapes are there", "count the {k} shapes", "how many shapes are {k}"],
    "count_beside": ["how many shapes are {side} the {x}", "count the shapes {side} the {x}", "what number of shapes is {side} the {x}"],
    "read": ["what does the sign say", "read the sign", "what is written", "what text do you see", "what is written on the sign",
             "read the text", "what does it say on the sign"],
    "read_which": ["what does the {which} sign say", "read the {which} sign", "what is written on the {which} sign"],
    "read_near": ["what does the sign closest to the {x} say", "read the sign next to the {x}", "what does the sign near the {x} say",
                  "which text is closest to the {x}"],
    "letter": ["what is the {n} character on the sign", "which character is {n} on the sign", "tell me the {n} character of the text"],
    "letter_count": ["how many characters are on the sign", "how long is the text on the sign", "count the characters on the sign"],
    "sign_count": ["how many signs are there", "how many signs do you see", "count the signs"],
    "relation": ["is the {x} {side} the {y}", "do you see the {x} {side} the {y}",
                 "would you say the {x} is {side} the {y}"],
    "relation_which": ["where is the {x} relative to the {y}", "on which side of the {y} is the {x}", "where is the {x} seen from the {y}"],
    "closest": ["what is closest to the {x}", "which shape is closest to the {x}", "what is next to the {x}", "what is nearest to the {x}"],
    "colour_near_sign": ["what color is the shape closest to the sign", "what is the color of the shape next to the sign",
                         "which color has the shape nearest to the text"],
    "outermost": ["which shape is {side}", "what is the {side} shape", "name the {side} shape"],
    "size": ["what is the {which} shape", "which shape is the {which}", "name the {which} shape"],
    "larger": ["is the {x} larger than the {y}", "is the {x} bigger than the {y}", "is the {y} smaller than the {x}"],
    "more": ["are there more {xs} than {ys}", "do you see more {xs} than {ys}", "are there fewer {ys} than {xs}"],
    "same_colour": ["do the {x} and the {y} have the same color", "are the {x} and the {y} the same color", "is the {x} the same colour as the {y}"],
    "exists": ["is there a {x}", "do you see a {x}", "can you see a {x}", "is a {x} in the picture"],
    "exists_shape": ["is there a {x}", "do you see a {x}", "is any {x} in the picture"],
    "position": ["where is the {x}", "in which part of the picture is the {x}", "where in the picture is the {x}", "where do you see the {x}"],
    "describe": ["describe the picture", "describe what you see", "what do you see", "list everything you see from left to right",
                 "what is in the picture", "describe the image from left to right"],
    "list_colours": ["list the colors from left to right", "name the colors of the shapes from left to right",
                     "which colors do you see from left to right"],
    "say_all": ["what does the voice say", "repeat the words", "what was said", "what is being said", "write down the words you hear",
                "repeat what the voice says", "what did i say"],
    "say_nth": ["what is the {n} word", "which word is {n}", "what is the {n} word you hear", "tell me the {n} spoken word"],
    "say_count": ["how many words are spoken", "how many words do you hear", "count the spoken words"],
    "said": ["did the voice say {w}", "do you hear the word {w}", "was the word {w} said", "is {w} one of the spoken words"],
    "beep_count": ["how many beeps are there", "how many beeps do you hear", "count the beeps"],
    "tone": ["what kind of tone is it", "is the tone high, low or rising", "what tone do you hear"],
    "sound_kind": ["what do you hear", "what kind of sound is there", "what is the sound", "is it a voice, beeps or a tone"],
    "spoken_question": ["answer the spoken question", "answer the question you hear", "answer what the voice asks", "listen and answer",
                        "answer my question", "what is the answer to the spoken question"],
    "named_shape_colour": ["what color is the shape that the voice names", "what color is the named shape",
                           "the voice names a shape, what color is it", "what is the color of the shape you hear"],
    "named_shape_exists": ["is the shape that the voice names in the picture", "do you see the shape that is said",
                           "is the spoken shape there", "is the named shape in the picture"],
    "names_colour_of": ["does the voice name the color of the {x}", "is the color of the {x} said", "do you hear the color of the {x}"],
    "beeps_or_things": ["are there more beeps than shapes", "do you hear more beeps than you see shapes", "are there fewer shapes than beeps"],
    "sign_else_sound": ["if there is a sign read it, otherwise say what you hear", "read the sign, or if there is none tell me what you hear",
                        "what does the sign say, or without a sign what do you hear"],
    "beeps_else_count": ["if you hear beeps count them, otherwise count the {xs}", "count the beeps, or if there are none the {xs}",
                         "how many beeps are there, or without beeps how many {xs}"],
    "describe_all": ["describe everything you see and hear", "what do you see and hear", "describe the picture and the sound",
                     "tell me all that you see and hear"],
    "clip_what": ["what happens in the clip", "what happens", "describe what happens", "what changes in the clip", "what is going on"],
    "clip_direction": ["which way does the {x} move", "in which direction does the {x} move", "where does the {x} go"],
    "clip_which": ["which shape {verb}", "what {verb}", "name the shape that {verb}"],
    "clip_new_colour": ["what color does the {x} turn", "which color does the {x} become", "what is the new color of the {x}"],
    "clip_still": ["does the {x} move", "is the {x} moving", "do you see the {x} move"],
    "arithmetic": ["what is {sum}", "how much is {sum}", "{sum} is what", "calculate {sum}"],
    "opposite": ["what is the opposite of {w}", "name the opposite of {w}", "{w} is the opposite of what"],
    "mix": ["what do you get when you mix {a} and {b}", "what color do {a} and {b} make", "mix {a} and {b}"],
}


def dress(rng: Random, phrase: str) -> str:
    """Capitals and end marks as people type them."""
    text = phrase.replace(" a orange", " an orange")
    style = rng.random()
    if style < 0.62:
        text = text[0].upper() + text[1:]
    asks = text.lower().startswith(("what", "which", "how", "is ", "are ", "do ", "does ", "did ", "was ", "where", "can ", "would ", "in ", "on "))
    if rng.random() < 0.7:
        text += "?" if asks else "."
    return text
