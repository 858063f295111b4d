"""The Census: the selections of a registry over a Census of CELLxGENE, and a Census of one's own."""
