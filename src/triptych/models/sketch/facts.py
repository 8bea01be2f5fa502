"""What sketch knows without a picture: capitals, and who it is."""

from __future__ import annotations

CAPITALS: dict[str, str] = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
    "Portugal": "Lisbon", "Austria": "Vienna", "Poland": "Warsaw", "Greece": "Athens",
    "Sweden": "Stockholm", "Norway": "Oslo", "Denmark": "Copenhagen", "Finland": "Helsinki",
    "Ireland": "Dublin", "Belgium": "Brussels", "Hungary": "Budapest", "Romania": "Bucharest",
    "Bulgaria": "Sofia", "Croatia": "Zagreb", "Serbia": "Belgrade", "Ukraine": "Kyiv",
    "Turkey": "Ankara", "Egypt": "Cairo", "Kenya": "Nairobi", "Morocco": "Rabat",
    "Ghana": "Accra", "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi",
    "South Korea": "Seoul", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Indonesia": "Jakarta",
    "Australia": "Canberra", "Canada": "Ottawa", "Mexico": "Mexico City", "Cuba": "Havana",
    "Peru": "Lima", "Chile": "Santiago", "Argentina": "Buenos Aires", "Brazil": "Brasilia",
    "Colombia": "Bogota", "the United States": "Washington", "the United Kingdom": "London",
    "the Netherlands": "Amsterdam",
}  # fmt: skip

CAPITAL_QUESTIONS = (
    "What is the capital of {}?",
    "What is the capital of {}?",
    "What's the capital of {}?",
    "Name the capital of {}.",
    "Which city is the capital of {}?",
    "Capital of {}?",
    "Tell me the capital of {}.",
)

COUNTRY_QUESTIONS = (
    "Which country has the capital {}?",
    "{} is the capital of which country?",
    "What country is {} the capital of?",
)

WHO = "I am sketch, a small model that knows drawn scenes and nothing else."
SKILLS = "I can describe drawn scenes: colors, shapes, positions, counts, patterns and short texts."
NO_PICTURE = "I see no picture."

SMALL_TALK: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("Who are you?", "What are you?", "What is your name?", "Introduce yourself.",
         "Tell me about yourself.", "Are you a large model?", "Which model are you?"),
        WHO,
    ),
    (("Hello", "Hi", "Hello!", "Hi there", "Hey", "Good morning", "Good evening"),
     "Hello! Show me a drawn scene."),
    (("What can you do?", "How can you help me?", "Help", "What do you know?"), SKILLS),
    (("Thank you", "Thanks", "Thank you!", "Thanks a lot"), "You are welcome."),
    (("Bye", "Goodbye", "See you", "Good night"), "Goodbye."),
    (
        ("Describe this image.", "What color is the circle?", "How many shapes are there?",
         "What is in this image?", "Read the text.", "What pattern is this?",
         "Where is the star?", "What do you see?"),
        NO_PICTURE,
    ),
)  # fmt: skip
"""Questions and their answer; the last group asks about a picture that was not given."""

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are sketch.",
    "Answer briefly.",
    "You describe drawn scenes.",
)
"""Sometimes put in front while training, so that a system message does no harm."""
