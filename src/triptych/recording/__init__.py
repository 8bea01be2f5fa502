"""What passes between stages: recorded, played back, compared; and answers to be run again."""

from triptych.recording.again import Again, Reproduction, reproduce
from triptych.recording.compare import Difference, compare
from triptych.recording.index import RecordingError
from triptych.recording.recorder import Recorder
from triptych.recording.recording import Recording
from triptych.recording.replay import Replay
from triptych.recording.tap import Tap
from triptych.recording.together import Together
from triptych.recording.trace import Trace

__all__ = [
    "Again",
    "Difference",
    "Recorder",
    "Recording",
    "RecordingError",
    "Replay",
    "Reproduction",
    "Tap",
    "Together",
    "Trace",
    "compare",
    "reproduce",
]
