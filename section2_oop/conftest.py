"""Make pytest collect from this folder whatever directory it is started in."""
