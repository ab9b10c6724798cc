def plot_ladder(rows, path):
    pass
