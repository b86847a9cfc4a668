"""Let the tests import the tools when pytest starts in this folder."""
