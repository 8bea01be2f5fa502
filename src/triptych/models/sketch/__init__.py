"""sketch, the built-in model: it knows drawn scenes and nothing else.

From picture to weights: `scenes` draws, `questions` asks, `conversations` puts both together,
`batches` makes arrays of them, `train` trains and `evaluate` measures. Drawing and asking need
numpy and pillow only.
"""
