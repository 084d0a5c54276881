"""What runs beside the user's command. Standard library only: it is started often and must be small.

``launcher`` runs the commands of clusters on this machine for a controller. Start reading there.
"""
