"""Reading back: QIDO-RS, WADO-RS, C-FIND, C-MOVE, C-GET, and the OHIF viewer."""
