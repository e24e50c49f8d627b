COLUMNS: tuple[str, ...] = ()
