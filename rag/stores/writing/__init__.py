"""How documents come in: drafted, staged, active together; and a text once more in other chunks."""
