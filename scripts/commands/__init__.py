"""The commands of `relance`: one family a file, loaded when it is asked for."""
