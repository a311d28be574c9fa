"""One arm in one repetition: its scene, its phases, and what is made of what arrived."""
