"""Ablations that never ran, of which the truth is known."""

import io

import numpy as np
from PIL import Image

from triptych.workbench.results import Arm, Question, Results, Run, ScoreKind

EXACT = ScoreKind("exact_match", "exact_match")
SPEED = ScoreKind("tokens_per_second", "tokens_per_second", measures="time")
TASKS = ("count", "color", "position")


def picture(number, size=48):
    """A PNG of one colour."""
    shades = tuple(int(shade) for shade in np.random.default_rng(number).integers(40, 255, 3))
    data = io.BytesIO()
    Image.new("RGB", (size, size), shades).save(data, "PNG")
    return data.getvalue()


def made(
    effects, *, items=60, per_cluster=3, seeds=2, seed=0, speeds=None, failing=(), pictures=True
):
    """Arms by name, with the change of their chance to be right; the first is the base.

    failing: (arm, item number) of runs without an answer.
    """
    random = np.random.default_rng(seed)
    questions = tuple(
        Question(
            id=f"item-{item:03d}",
            question=f"How many circles are in picture {item // per_cluster}?",
            reference=str(item % 5),
            task=TASKS[item % len(TASKS)],
            cluster=f"picture-{item // per_cluster}",
            images=(picture(item // per_cluster),) if pictures else (),
        )
        for item in range(items)
    )
    hard = np.clip(0.7 + random.normal(0, 0.2, items), 0.05, 0.95)
    runs = []
    for arm, effect in effects.items():
        for item, question in enumerate(questions):
            for number in range(seeds):
                if (arm, item) in failing:
                    runs.append(Run(arm, question.id, number, error="InputError: no picture"))
                    continue
                right = random.random() < hard[item] + effect
                scores = {"exact_match": float(right)}
                if speeds:
                    scores["tokens_per_second"] = speeds[arm] * random.uniform(0.95, 1.05)
                text = question.reference if right else "many"
                runs.append(Run(arm, question.id, number, text=text, scores=scores))
    return Results(
        arms=tuple(
            Arm(name, {} if effect == 0 and name == "base" else {"sampler.temperature": effect})
            for name, effect in effects.items()
        ),
        scores=(EXACT, SPEED) if speeds else (EXACT,),
        questions=questions,
        runs=tuple(runs),
        about={"triptych": "1.0", "machine": "4 cores", "provider": "CPUExecutionProvider"},
    )
