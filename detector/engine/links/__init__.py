"""Links between accounts: queries that were made from queries of other accounts, and the campaigns they show."""
