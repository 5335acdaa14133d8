"""The story of an answer: cache, plan, ask, agree, grade, remember."""
