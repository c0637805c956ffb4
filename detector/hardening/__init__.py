"""How extractable a model is, with and without a defence: `detector bench`.

`examples` reads what is asked about, `subject` says what is benched, `defences` and `toolbox` change answers, `theft` steals
and trains copies, `stops` asks the detector when it would have acted, `honest` measures what everybody else loses, and `bench`
makes rows of it. `recipes` are models that were hardened while they were trained, to compare with.
"""
