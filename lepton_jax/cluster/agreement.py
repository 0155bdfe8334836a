def check_same(processes, facts):
    pass
