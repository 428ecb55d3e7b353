"""Train tutors: supervised on lessons, and by multi-turn GRPO in the classroom, both through TRL.

Only the tutor's tokens are ever trained on; the mask is known from sampling, see `rows`.
"""
