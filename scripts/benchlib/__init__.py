"""What scripts/bench is made of. Python 3.9 or newer; the standard library only, but for building
corpora at full scale (see real.py).

    deltas      a live tree plus forward and reverse deltas: how a corpus is kept and replayed
    synthetic   corpora made from fixed seeds      real     corpora made from real data
    corpora     which corpus is which, and building them
    tools       how each tool is driven            repository  one tool's repository of one corpus
    measure     running and measuring commands     machine     what was measured on
    ingest      the suite of backups               mount       the suite of reads through mounts
    results     JSON lines, and medians of them    figures     what is demanded of icecore
    report      tables, JSON and README            plot        the SVG
    selftest    all of it in seconds               install     gets peers and inputs (bash)

A module imports none that stands below it in this list, but for selftest.
"""
