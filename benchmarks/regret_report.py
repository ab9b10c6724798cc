def regret_report(rows, command):
    return ""
